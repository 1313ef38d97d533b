import { describe, expect, it } from "vitest";
import { hashOf, type Route, routeOf, titleOf } from "../src/route";
import { address } from "../src/server";

const NAMES = ["net", "a b", "50%", "<b>&=?#", "\u202eturned", "🙂", "x/y"];

describe("routes", () => {
  it.each(NAMES)("come back from the address: a run called %s", (name) => {
    expect(routeOf(hashOf({ view: "run", name }))).toEqual({ view: "run", name });
  });
  it("come back from the address: a comparison of all of them", () => {
    const route: Route = { view: "compare", runs: NAMES, quantity: "grad norm&x" };
    expect(routeOf(hashOf(route))).toEqual(route);
  });
  it.each(["", "#", "#/", "#/unknown/x"])("are the list for %j", (hash) => {
    expect(routeOf(hash)).toEqual({ view: "list" });
  });
  it("are none for an anchor inside the page", () => expect(routeOf("#linked")).toBeNull());
  it("survive a lone % that somebody typed", () => {
    expect(routeOf("#/run/50%")).toEqual({ view: "run", name: "50%" });
  });
  it("compare the loss unless told otherwise", () => {
    expect(routeOf("#/compare?run=a&run=b")).toEqual({ view: "compare", runs: ["a", "b"], quantity: "loss" });
  });
  it("have titles", () => {
    expect(titleOf({ view: "run", name: "net" })).toBe("net · Surefoot");
    expect(titleOf({ view: "compare", runs: ["a", "b"], quantity: "loss" })).toMatch(/^2 runs/);
  });
});

describe("questions to the server", () => {
  it("leave out what was not asked and repeat what is a list", () => {
    expect(address("/api/x", { run: ["a&b", "c"], start: 0, stop: undefined })).toBe("/api/x?run=a%26b&run=c&start=0");
  });
  it("have no question mark without a question", () => expect(address("/api/x")).toBe("/api/x"));
});
