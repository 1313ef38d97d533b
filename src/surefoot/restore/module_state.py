"""What one module holds besides the values of its tensors, and how it is put back."""

from __future__ import annotations

from torch import nn

from surefoot.restore.hooks import VanishingHook

PLAIN = (int, float, bool, str, bytes, type(None))
"""Attributes of modules that are put back: counters and switches."""

_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


class ModuleState:
    """What one module holds besides the values of its tensors."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._plain = {k: v for k, v in vars(module).items() if isinstance(v, PLAIN)}
        self._buffers = dict(vars(module)["_buffers"])
        self._hooks = {name: dict(getattr(module, name)) for name in _HOOKS}
        for name, hooks in self._hooks.items():
            for key, hook in hooks.items():
                if isinstance(hook, VanishingHook):
                    getattr(module, name).pop(key)

    def restore(self) -> None:
        """Put back flags, counters and buffers that were replaced."""
        vars(self._module).update(self._plain)
        vars(self._module)["_buffers"].update(self._buffers)

    def put_hooks_back(self) -> None:
        """Put back the hooks that were lifted, in their order."""
        for name, hooks in self._hooks.items():
            table = getattr(self._module, name)
            table.clear()
            table.update(hooks)
