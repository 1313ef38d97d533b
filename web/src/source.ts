// Where the data comes from: the document in, one PageData out.
//
// The only module that knows. Today the data is inlined in the page; a server
// source is one more function beside `inlined`.
import type { PageData } from "./data";

export const FORMAT = 2;

export function inlined(document: Document): PageData {
  const element = document.getElementById("surefoot-data");
  if (!element) {
    throw new Error(
      "The page holds no data: expected a script element with the id " +
        "surefoot-data. Write the report again with: surefoot report RUN -o report.html",
    );
  }
  const data = JSON.parse(element.textContent ?? "") as Partial<PageData>;
  if (data.format !== FORMAT) {
    throw new Error(
      `The data has format ${String(data.format)}, this page reads format ${FORMAT}. ` +
        "Write the report again with the Surefoot that recorded the run.",
    );
  }
  return data as PageData;
}

export function load(document: Document): Promise<PageData> {
  return new Promise((resolve) => resolve(inlined(document)));
}
