// The model's modules, coloured by what is told of them: facts and findings in, a tree out.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Diagnosis, Facts } from "../data";
import { modelTree, type Node, opened, rowsSeen } from "../tree";
import { spaced } from "../words";
import { SeverityIcon } from "./Icons";

interface Props {
  facts: Facts;
  diagnoses: Diagnosis[];
  /** Shows that layer in the charts. */
  select: (layer: string) => void;
}

export function ModelTree({ facts, diagnoses, select }: Props) {
  const nodes = useMemo(() => modelTree(facts, diagnoses), [facts, diagnoses]);
  const [open, setOpen] = useState(() => opened(nodes));
  const [at, move] = useState(() => firstTold(nodes));
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => setOpen((before) => new Set([...before, ...opened(nodes)])), [nodes]);
  useLayoutEffect(() => {
    // A tall tree begins where something is told, without moving the page.
    const accused = list.current?.querySelector<HTMLElement>(".accused");
    if (accused && list.current) list.current.scrollTop = accused.offsetTop - list.current.clientHeight / 3;
  }, []);
  const rows = rowsSeen(nodes, open);
  if (!rows.length) return null;
  const toggle = (name: string): void => {
    const next = new Set(open);
    if (!next.delete(name)) next.add(name);
    setOpen(next);
  };
  const go = (name: string): void => {
    move(name);
    const items = list.current?.querySelectorAll<HTMLElement>("[role=treeitem]") ?? [];
    [...items].find((item) => item.dataset["name"] === name)?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (keyed(event.key, { rows, at, open, go, toggle, select })) event.preventDefault();
  };
  const current = rows.some((row) => row.node.name === at) ? at : rows[0]?.node.name;
  return (
    <ul class="tree" role="tree" aria-label="Modules of the model" ref={list} onKeyDown={onKeyDown} data-view="model-tree">
      {rows.map(({ node, depth, of }) => (
        <li
          key={node.name} role="treeitem" data-name={node.name} tabIndex={node.name === current ? 0 : -1}
          aria-level={depth} aria-setsize={of.length} aria-posinset={of.indexOf(node) + 1}
          {...(node.children.length ? { "aria-expanded": open.has(node.name) } : {})}
          aria-selected={node.name === current} class={`${node.health ?? "calm"}${node.accused ? " accused" : ""}`}
          style={{ paddingLeft: `${10 + 18 * (depth - 1)}px` }}
          onClick={() => { move(node.name); select(node.name); }}
        >
          <Twist node={node} open={open.has(node.name)} toggle={toggle} />
          <code>{node.label}</code>
          {node.kind && <span class="kind">{node.kind}</span>}
          <Health node={node} />
        </li>
      ))}
    </ul>
  );
}

function Twist({ node, open, toggle }: { node: Node; open: boolean; toggle: (name: string) => void }) {
  if (!node.children.length) return <i class="twist" aria-hidden="true" />;
  return (
    <i
      class={`twist ${open ? "open" : "shut"}`} aria-hidden="true"
      onClick={(event) => { event.stopPropagation(); toggle(node.name); }}
    />
  );
}

function Health({ node }: { node: Node }) {
  if (!node.health) return <span class="spoken">nothing found</span>;
  const below = !node.causes.length;
  return (
    <span class={`health other ${node.health}`}>
      <SeverityIcon kind={node.health} />
      <span>{node.health}{below ? (node.children.some((child) => child.health) ? " inside" : ", takes part") : `: ${spaced(node.causes[0] ?? "")}`}</span>
    </span>
  );
}

function firstTold(nodes: Node[]): string {
  const find = (list: Node[]): Node | undefined => {
    for (const node of list) {
      if (node.accused) return node;
      const inside = find(node.children);
      if (inside) return inside;
    }
    return undefined;
  };
  return find(nodes)?.name ?? nodes[0]?.name ?? "";
}

export interface TreeKeys {
  rows: { node: Node }[];
  at: string;
  open: Set<string>;
  go: (name: string) => void;
  toggle: (name: string) => void;
  select: (name: string) => void;
}

/** The keys of a tree as ARIA's practices name them; false for all others. */
export function keyed(key: string, { rows, at, open, go, toggle, select }: TreeKeys): boolean {
  const place = Math.max(rows.findIndex((row) => row.node.name === at), 0);
  const node = rows[place]?.node;
  if (!node) return false;
  const to = (index: number): boolean => {
    go(rows[Math.min(Math.max(index, 0), rows.length - 1)]?.node.name ?? at);
    return true;
  };
  switch (key) {
    case "ArrowDown": return to(place + 1);
    case "ArrowUp": return to(place - 1);
    case "Home": return to(0);
    case "End": return to(rows.length - 1);
    case "ArrowRight":
      if (!node.children.length) return true;
      if (open.has(node.name)) return to(place + 1);
      toggle(node.name);
      return true;
    case "ArrowLeft":
      if (node.children.length && open.has(node.name)) { toggle(node.name); return true; }
      return to(rows.findIndex((row) => row.node.children.includes(node)) < 0
        ? place : rows.findIndex((row) => row.node.children.includes(node)));
    case "Enter": case " ": select(node.name); return true;
    default: return false;
  }
}
