import { describe, expect, it } from "vitest";
import { inlined } from "../src/source";
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
  it("is read", () => expect(inlined(documentWith(JSON.stringify(page()))).run.name).toBe("net"));
  it("says when there is none", () => expect(() => inlined(documentWith(null))).toThrow(/holds no data/));
  it("says when it is of another format", () => {
    expect(() => inlined(documentWith('{"format":9}'))).toThrow(/format 9, this page reads format 2/);
  });
});
