// Which view the address names: the part after # in, a route out, and back.
import { useEffect, useState } from "preact/hooks";

export type Route =
  | { view: "list" }
  | { view: "run"; name: string }
  | { view: "compare"; runs: string[]; quantity: string };

/** Null for what is no route: an anchor inside the page. */
export function routeOf(hash: string): Route | null {
  if (hash === "" || hash === "#" || hash === "#/") return { view: "list" };
  if (!hash.startsWith("#/")) return null;
  const [path = "", query = ""] = hash.slice(2).split("?", 2);
  const [view = "", ...rest] = path.split("/");
  if (view === "run" && rest.length) return { view, name: decoded(rest.join("/")) };
  if (view !== "compare") return { view: "list" };
  const asked = new URLSearchParams(query);
  return { view, runs: asked.getAll("run"), quantity: asked.get("quantity") ?? "loss" };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone % that somebody typed
  }
}

export function hashOf(route: Route): string {
  if (route.view === "list") return "#/";
  if (route.view === "run") return `#/run/${encodeURIComponent(route.name)}`;
  const query = new URLSearchParams(route.runs.map((run) => ["run", run]));
  query.append("quantity", route.quantity);
  return `#/compare?${query.toString()}`;
}

export function titleOf(route: Route): string {
  if (route.view === "run") return `${route.name} · Surefoot`;
  return route.view === "compare" ? `${route.runs.length} runs compared · Surefoot` : "Runs · Surefoot";
}

/** The route in the address, now and after every step back or forward. */
export function useRoute(): Route {
  const [route, set] = useState<Route>(() => routeOf(location.hash) ?? { view: "list" });
  useEffect(() => {
    const listen = (): void => {
      const next = routeOf(location.hash);
      if (next) set(next);
    };
    window.addEventListener("hashchange", listen);
    return () => window.removeEventListener("hashchange", listen);
  }, []);
  return route;
}
