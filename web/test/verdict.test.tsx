import { render } from "preact";
import { afterEach, describe, expect, it } from "vitest";
import { describe as told } from "../src/events";
import { EventList } from "../src/views/EventList";
import { Verdict } from "../src/views/Verdict";
import { diagnosis, page } from "./data";

const HOSTILE = "</script><img src=x onerror=alert(1)>";

function shown(view: preact.ComponentChild): HTMLElement {
  const root = document.createElement("div");
  document.body.append(root);
  render(view, root);
  return root;
}

afterEach(() => { document.body.textContent = ""; });

describe("the verdict", () => {
  it("says what, where, since when, why and what to do", () => {
    const text = shown(<Verdict data={page({ diagnoses: [diagnosis()] })} />).textContent ?? "";
    for (const part of ["Vanishing gradients", "net.0.weight", "since step 12", "critical", "10⁻⁹",
      "bound 10⁻⁵", "10,000× below", "a paper", "Use relu", "Use ReLU.", "90 %"]) {
      expect(text).toContain(part);
    }
  });
  it("says plainly that nothing is wrong", () => {
    const text = shown(<Verdict data={page()} />).textContent ?? "";
    expect(text).toContain("Nothing wrong found in 300 steps");
    expect(text).toContain("Looked at loss, learning rate.");
  });
  it("calls a single signal unconfirmed", () => {
    const text = shown(<Verdict data={page({ diagnoses: [diagnosis({ confirmed: false })] })} />).textContent;
    expect(text).toContain("unconfirmed: one signal alone");
  });
  it("shows hostile names as text", () => {
    const root = shown(<Verdict data={page({ diagnoses: [diagnosis({ layer: HOSTILE, about: HOSTILE })] })} />);
    expect(root.querySelector("img")).toBeNull();
    expect(root.textContent).toContain(HOSTILE);
  });
});

describe("events", () => {
  it("are told in words", () => {
    const body = { module: "net.3", operation: "log", line: "net.py:7", direction: "forward", certain: false };
    expect(told({ step: 3, kind: "nonfinite", stream: "main", body }))
      .toBe("First non-finite value in net.3 by log at net.py:7, forward pass (not certain)");
    expect(told({ step: 3, kind: "unheard_of", stream: "main", body: { a_b: [1, 2], c: null } })).toBe("a b 1, 2, c ");
  });
  it("are text, whatever they hold", () => {
    const root = shown(<EventList events={[{ step: 0, kind: HOSTILE, stream: "main", body: { text: HOSTILE } }]} />);
    expect(root.querySelector("img")).toBeNull();
  });
});
