// The page: a document with data (or a server) in, the drawn page out.
import "uplot/dist/uPlot.min.css";
import "./style/tokens.css";
import "./style/page.css";
import "./style/verdict.css";
import "./style/tracks.css";
import "./style/print.css";
import { render } from "preact";
import { load } from "./source";
import { App } from "./views/App";
import { Trouble } from "./views/Trouble";

const root = document.getElementById("surefoot-page");
if (root) {
  load(document).then(
    (data) => render(<App data={data} />, root),
    (error: unknown) => render(<Trouble error={error} />, root),
  );
}
