// Which layer of a panel is meant: names in, rows out.
//
// Parameters are named "net.3.weight", modules "net.3": a cause found in one may
// be looked at in a map of the other.

/** Rows of that very name, else rows of its module, else of what it contains. */
export function rowsOf(layer: string, names: string[]): number[] {
  const where = (test: (name: string) => boolean): number[] =>
    names.flatMap((name, row) => (test(name) ? [row] : []));
  const exact = where((name) => name === layer);
  if (exact.length || !layer || layer === "run") return exact;
  const owners = where((name) => layer.startsWith(`${name}.`));
  if (owners.length) return owners.slice(-1);
  return where((name) => name.startsWith(`${layer}.`));
}

/** The row to show for a wanted layer: itself, a relative, else the first accused. */
export function rowFor(wanted: string | null, names: string[], accused: number[]): number {
  if (wanted !== null) {
    const row = rowsOf(wanted, names)[0] ?? siblings(wanted, names)[0];
    if (row !== undefined) return row;
  }
  return accused[0] ?? 0;
}

const ORDER = new Intl.Collator("en", { numeric: true });

/** Of what lies beside a layer without a row, such as an activation: the one before it. */
function siblings(wanted: string, names: string[]): number[] {
  const owner = wanted.slice(0, Math.max(wanted.lastIndexOf("."), 0));
  const numbered = /^\d+$/.test(wanted); // a part of a plain Sequential, which has no name of its own
  const rows = owner ? rowsOf(owner, names) : numbered ? names.map((_, row) => row) : [];
  const before = rows.filter((row) => ORDER.compare(names[row] ?? "", wanted) <= 0);
  return before.length ? before.slice(-1) : rows;
}
