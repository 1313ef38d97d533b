// The page: a document with data (or the address of a server) in, the drawn page out.
import "./language";
import "uplot/dist/uPlot.min.css";
import "./style/tokens.css";
import "./style/page.css";
import "./style/verdict.css";
import "./style/tracks.css";
import "./style/list.css";
import "./style/compare.css";
import "./style/live.css";
import "./style/views.css";
import "./style/deeds.css";
import "./style/print.css";
import { type ComponentChild, render } from "preact";
import { sourceOf } from "./source";
import { App } from "./views/App";
import { Trouble } from "./views/Trouble";

const root = document.getElementById("surefoot-page");

/** In place of the plain text that stands there for readers without scripts. */
function show(view: ComponentChild): void {
  if (!root) return;
  root.textContent = "";
  render(view, root);
}

function page(): ComponentChild {
  try {
    return <App source={sourceOf(document)} />;
  } catch (error) {
    return <Trouble error={error} />;
  }
}

show(page());
