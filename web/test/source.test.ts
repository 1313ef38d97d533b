import { describe, expect, it } from "vitest";
import { inlined, reportSource, sourceOf } from "../src/source";
import { page } from "./data";

function documentWith(text: string | null): Document {
  const made = document.implementation.createHTMLDocument();
  if (text === null) return made;
  const element = made.createElement("script");
  element.type = "application/json";
  element.id = "surefoot-data";
  element.textContent = text;
  made.body.append(element);
  return made;
}

describe("inlined data", () => {
  it("is read", () => expect(inlined(documentWith(JSON.stringify(page())))).toEqual(page()));
  it("says when there is none", () => expect(() => inlined(documentWith(null))).toThrow(/holds no data/));
  it("says when it is of another format", () => {
    expect(() => inlined(documentWith('{"format":9}'))).toThrow(/format 9, this page reads format 2/);
  });
});

describe("the source that a document speaks for", () => {
  it("is the report itself where a run is inlined", async () => {
    const source = sourceOf(documentWith(JSON.stringify(page())));
    expect(source.kind).toBe("report");
    expect((await source.page("")).run.name).toBe("net");
  });
  it("is a server where its folder is named", () => {
    const source = sourceOf(documentWith('{"format":2,"server":true,"folder":"runs"}'));
    expect([source.kind, source.folder, source.reportAddress("a b")]).toEqual(["server", "runs", "/api/run/a%20b/report"]);
  });
  it("has nothing but its run in a report, and says so", async () => {
    const source = reportSource(page());
    await expect(source.runs()).rejects.toThrow(/surefoot ui/);
    expect(await source.panel("net", { stream: "main", name: "loss" })).toEqual({ names: [], panel: null });
  });
});
