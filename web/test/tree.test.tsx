import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, describe, expect, it } from "vitest";
import type { Facts } from "../src/data";
import { modelTree, opened, rowsSeen } from "../src/tree";
import { ModelTree } from "../src/views/ModelTree";
import { diagnosis } from "./data";

const facts: Facts = {
  model: "Net", optimizer: "SGD", options: {}, parameters: 0, trainable: 0, tensors: 0, unseen: [], techniques: [],
  modules: ["stem", "blocks.0.fc", "blocks.0.act", "blocks.1.fc"].map((name) => ({ name, kind: "Linear" })),
};
const finding = (layer: string, severity: "info" | "warning" | "critical") => ({
  signature: "s", layer, onset: 1, severity, evidence: [], layers: [layer], detail: {},
});
const told = diagnosis({ layer: "blocks.0.fc.weight", findings: [finding("blocks.0.fc.weight", "warning")] });

afterEach(() => { document.body.textContent = ""; });

describe("the model's tree", () => {
  it("nests by dots", () => {
    const nodes = modelTree(facts, []);
    expect(nodes.map((node) => node.name)).toEqual(["stem", "blocks"]);
    expect(nodes[1]?.children.map((node) => node.name)).toEqual(["blocks.0", "blocks.1"]);
  });
  it("gives each the worst that is told of it or of what it holds", () => {
    const nodes = modelTree(facts, [told, diagnosis({ cause: "other", layer: "blocks.1.fc", findings: [finding("blocks.1.fc", "critical")] })]);
    expect(nodes.map((node) => node.health)).toEqual([null, "critical"]);
    expect(nodes[1]?.children.map((node) => node.health)).toEqual(["warning", "critical"]);
  });
  it("marks the accused alone, down to its parameter", () => {
    const rows = rowsSeen(modelTree(facts, [told]), new Set(["blocks", "blocks.0", "blocks.0.fc"]));
    expect(rows.filter((row) => row.node.accused).map((row) => row.node.name)).toEqual(["blocks.0.fc.weight"]);
    expect(rows.find((row) => row.node.accused)?.depth).toBe(4);
  });
  it("leaves out layers of no module of this model", () =>
    expect(modelTree(facts, [diagnosis({ layer: "run", findings: [finding("run", "critical")] })]).length).toBe(2));
  it("opens the way to what is told when it is large", () =>
    expect([...opened(modelTree(facts, [told]), 1)]).toEqual(["blocks", "blocks.0", "blocks.0.fc"]));
});

describe("the tree as it is shown", () => {
  const shown = (select: (name: string) => void): HTMLElement => {
    const root = document.createElement("div");
    document.body.append(root);
    act(() => render(<ModelTree facts={facts} diagnoses={[told]} select={select} />, root));
    return root;
  };
  const press = (root: HTMLElement, key: string): void => {
    const at = root.querySelector("[tabindex='0']");
    act(() => { at?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })); });
  };
  it("is a tree to a screen reader, with the accused in the tab order", () => {
    const root = shown(() => undefined);
    expect(root.querySelector("[role=tree]")?.querySelectorAll("[role=treeitem]").length).toBe(8);
    expect(root.querySelector("[tabindex='0']")?.textContent).toContain("weight");
    expect(root.textContent).toContain("warning: vanishing gradients");
  });
  it("is walked by keys", () => {
    const chosen: string[] = [];
    const root = shown((name) => chosen.push(name));
    press(root, "ArrowLeft"); // to its parent
    press(root, "ArrowLeft"); // which shuts
    expect(root.querySelectorAll("[role=treeitem]").length).toBe(7);
    press(root, "ArrowRight");
    expect(root.querySelectorAll("[role=treeitem]").length).toBe(8);
    press(root, "Home");
    press(root, "Enter");
    expect(chosen).toEqual(["stem"]);
  });
});
