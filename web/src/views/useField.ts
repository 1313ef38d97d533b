// A field that has to be asked for: what is wanted in, what there is so far out.
import { useCallback, useEffect, useState } from "preact/hooks";
import type { FieldData } from "../data";
import type { AskField } from "../field";
import type { Opened } from "./useRun";

export interface Asked {
  field: FieldData | null;
  state: "loading" | "ready" | "none" | "failed";
  trouble: string;
}

export interface Wanted {
  kind: string;
  stream: string;
  step: number;
  layer: string | null;
  /** Of several at one step. */
  title?: string;
}

/** The field before stays until the next one is there. */
export function useField(ask: AskField, { kind, stream, step, layer, title }: Wanted): Asked {
  const [asked, set] = useState<Asked>({ field: null, state: "loading", trouble: "" });
  useEffect(() => {
    let wanted = true;
    set((before) => ({ ...before, state: "loading" }));
    ask(kind, stream, step, layer, title).then(
      (field) => { if (wanted) set({ field, state: field ? "ready" : "none", trouble: "" }); },
      (error: unknown) => {
        if (wanted) set({ field: null, state: "failed", trouble: error instanceof Error ? error.message : String(error) });
      },
    );
    return () => { wanted = false; };
  }, [ask, kind, stream, step, layer, title]);
  return asked;
}

/** Several steps of one kind and layer, each once, in order; null while none of them is there. */
export function useFields(ask: AskField, wanted: Omit<Wanted, "step">, steps: number[]): FieldData[] | null {
  const { kind, stream, layer } = wanted;
  const of = `${kind} ${stream} ${layer ?? ""}`;
  const [found, set] = useState<{ of: string; fields: FieldData[] } | null>(null);
  const list = steps.join(",");
  useEffect(() => {
    let current = true;
    const all = list === "" ? [] : list.split(",").map(Number);
    Promise.all(all.map((step) => ask(kind, stream, step, layer).catch(() => null))).then((answers) => {
      if (!current) return;
      const known = new Map(answers.flatMap((field) => (field ? [[field.step, field] as const] : [])));
      set({ of, fields: [...known.values()].sort((a, b) => a.step - b.step) });
    }, () => undefined);
    return () => { current = false; };
  }, [ask, kind, stream, layer, list]);
  return found?.of === of ? found.fields : null;
}

/** Asks the source of a run for its fields. */
export function useAskField({ source, name }: Pick<Opened, "source" | "name">): AskField {
  return useCallback(
    (kind, stream, step, layer, title) => source.field(
      name, { kind, stream, step, ...(layer === null ? {} : { layer }), ...(title === undefined ? {} : { title }) }),
    [source, name],
  );
}
