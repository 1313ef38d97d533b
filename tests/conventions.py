"""A module and its inputs come in; that it keeps torch's conventions is asserted.

Compiled code is traced and lowered, not built: that needs no C++ compiler.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import torch
from torch import Tensor, nn

from surefoot.restore.random_streams import repeated

Make = Callable[[], nn.Module]


def keeps_conventions(
    make: Make,
    *inputs: object,
    compiled: bool = True,
    half: bool = True,
    exported: bool = False,
    **named: object,
) -> None:
    """The same output after state_dict, deepcopy, compile; bf16 autocast; extra_repr.

    Turn one off only for a reason that the module's docstring states.
    """
    module = make()
    expected = _output(module, inputs, named)
    _is_the_same(expected, _output(copy.deepcopy(module), inputs, named))
    _is_the_same(expected, _output(_loaded(make, module), inputs, named))
    assert type(module).__name__ in repr(module)
    assert module.extra_repr() or next(module.children(), None) is not None
    module.to(torch.float64)
    floating = [v for v in module.state_dict().values() if v.is_floating_point()]
    assert all(value.dtype == torch.float64 for value in floating)
    module.to(torch.float32)
    if compiled:
        torch._dynamo.reset()
        fast = torch.compile(copy.deepcopy(module), fullgraph=True, backend="aot_eager")
        _is_the_same(expected, _output(fast, inputs, named))
    if half:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = _output(copy.deepcopy(module), inputs, named)
        assert all(torch.isfinite(one).all() for one in _tensors(output))
    if exported:
        whole = torch.export.export(copy.deepcopy(module).eval(), inputs, named)
        _is_the_same(
            _output(copy.deepcopy(module).eval(), inputs, named),
            _output(whole.module(), inputs, named),
        )


def _loaded(make: Make, module: nn.Module) -> nn.Module:
    """Another one with the state that was written to a file."""
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = make()
    other.load_state_dict(torch.load(file, weights_only=True))
    return other.train(module.training)


def _output(module: Callable[..., object], inputs: tuple, named: dict) -> object:
    """What comes out of a copy of the state, on the same random numbers."""
    if isinstance(module, nn.Module):
        state = copy.deepcopy(module.state_dict())
    with repeated(0):
        output = module(*inputs, **named)
    if isinstance(module, nn.Module):
        module.load_state_dict(state)
    return output


def _tensors(output: object) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    parts = output if isinstance(output, tuple | list) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _is_the_same(expected: object, found: object) -> None:
    pairs = zip(_tensors(expected), _tensors(found), strict=True)
    for left, right in pairs:
        torch.testing.assert_close(right, left, rtol=1e-5, atol=1e-6)
