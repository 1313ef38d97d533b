// The page: a document with data (or a server) in, the drawn page out.
import "./language";
import "uplot/dist/uPlot.min.css";
import "./style/tokens.css";
import "./style/page.css";
import "./style/verdict.css";
import "./style/tracks.css";
import "./style/print.css";
import { type ComponentChild, render } from "preact";
import { load } from "./source";
import { App } from "./views/App";
import { Trouble } from "./views/Trouble";

const root = document.getElementById("surefoot-page");

/** In place of the plain text that stands there for readers without scripts. */
function show(view: ComponentChild): void {
  if (!root) return;
  root.textContent = "";
  render(view, root);
}

load(document).then(
  (data) => show(<App data={data} />),
  (error: unknown) => show(<Trouble error={error} />),
);
