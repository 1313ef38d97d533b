// The model as a tree of its modules: names with dots and findings in, nodes out.
import type { Diagnosis, Facts, Severity } from "./data";
import { severityOf } from "./words";

export interface Node {
  name: string;
  /** The last part of the name. */
  label: string;
  /** Class of the module, where it is known. */
  kind: string;
  children: Node[];
  /** Worst that is told of it or of something in it; null where nothing is. */
  health: Severity | null;
  /** What is told of exactly this one. */
  causes: string[];
  /** Whether the first diagnosis names it. */
  accused: boolean;
}

const WORST: Severity[] = ["critical", "warning", "info"];

/** The children of the model; parameters that are accused get a node of their own. */
export function modelTree(facts: Facts, diagnoses: Diagnosis[]): Node[] {
  const root = bare("", "");
  const known = new Map<string, Node>([["", root]]);
  for (const module of facts.modules) place(module.name, known).kind = module.kind;
  const named = diagnoses.flatMap((one) => layersOf(one));
  for (const layer of named) if (known.has(owner(layer))) place(layer, known);
  diagnoses.forEach((diagnosis, rank) => told(diagnosis, rank === 0, known));
  settle(root);
  return root.children;
}

function layersOf(diagnosis: Diagnosis): string[] {
  const found = diagnosis.findings.flatMap((finding) => [finding.layer, ...finding.layers]);
  return [...new Set([diagnosis.layer, ...found])].filter((layer) => layer !== "" && layer !== "run");
}

function bare(name: string, label: string): Node {
  return { name, label, kind: "", children: [], health: null, causes: [], accused: false };
}

function owner(name: string): string {
  return name.slice(0, Math.max(name.lastIndexOf("."), 0));
}

/** The node of that name; it and those above it are made where they are missing. */
function place(name: string, known: Map<string, Node>): Node {
  const found = known.get(name);
  if (found) return found;
  const made = bare(name, name.slice(name.lastIndexOf(".") + 1));
  place(owner(name), known).children.push(made);
  known.set(name, made);
  return made;
}

function told(diagnosis: Diagnosis, first: boolean, known: Map<string, Node>): void {
  for (const layer of layersOf(diagnosis)) {
    const node = known.get(layer);
    if (!node) continue;
    node.health = worse(node.health, severityIn(diagnosis, layer));
    if (layer === diagnosis.layer) node.causes.push(diagnosis.cause);
    if (first && layer === diagnosis.layer) node.accused = true;
  }
}

function severityIn(diagnosis: Diagnosis, layer: string): Severity {
  const own = diagnosis.findings.filter((finding) => finding.layer === layer || finding.layers.includes(layer));
  return own.length ? severityOf({ ...diagnosis, findings: own }) : severityOf(diagnosis);
}

function worse(one: Severity | null, other: Severity | null): Severity | null {
  return WORST.find((severity) => severity === one || severity === other) ?? null;
}

/** What is told of a part is told of the whole. */
function settle(node: Node): Severity | null {
  for (const child of node.children) node.health = worse(node.health, settle(child));
  return node.health;
}

/** Names of those to open at first: all on the way to something told, or a small tree. */
export function opened(nodes: Node[], most = 24): Set<string> {
  const all = flat(nodes, () => true);
  const open = all.length <= most ? all : all.filter((node) => node.children.some((child) => child.health));
  return new Set(open.filter((node) => node.children.length).map((node) => node.name));
}

/** Nodes in the order in which they are seen, with their depth. */
export function rowsSeen(nodes: Node[], open: Set<string>, depth = 1): { node: Node; depth: number; of: Node[] }[] {
  return nodes.flatMap((node) => [
    { node, depth, of: nodes },
    ...(open.has(node.name) ? rowsSeen(node.children, open, depth + 1) : []),
  ]);
}

function flat(nodes: Node[], test: (node: Node) => boolean): Node[] {
  return nodes.flatMap((node) => [...(test(node) ? [node] : []), ...flat(node.children, test)]);
}
