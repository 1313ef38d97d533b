// One more line below the others: names of those not shown in, a menu out.
interface Props {
  options: [name: string, title: string][];
  choose: (name: string) => void;
}

export function LineChooser({ options, choose }: Props) {
  if (!options.length) return null;
  return (
    <p class="more-lines">
      <select
        aria-label="Show one more line" value=""
        onChange={(event) => { choose(event.currentTarget.value); event.currentTarget.value = ""; }}
      >
        <option value="" disabled hidden>One more line …</option>
        {options.map(([name, title]) => <option key={name} value={name}>{title}</option>)}
      </select>
    </p>
  );
}
