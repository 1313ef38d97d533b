// Which quantity the map shows: names in, a row of radio buttons and a menu out.
interface Props {
  options: [name: string, title: string][];
  chosen: string;
  choose: (name: string) => void;
}

/** More buttons than these would push the map off the screen; the rest is in a menu. */
const BUTTONS = 6;

export function QuantityChooser({ options, chosen, choose }: Props) {
  const first = options.slice(0, options.length > BUTTONS + 1 ? BUTTONS : BUTTONS + 1);
  const rest = options.slice(first.length);
  const picked = rest.filter(([name]) => name === chosen);
  return (
    <div class="quantities" data-view="quantities">
      <fieldset class="segments">
        <legend>Quantity on the map</legend>
        {[...first, ...picked].map(([name, title]) => (
          <label key={name} class={name === chosen ? "on" : ""}>
            <input
              type="radio" name="quantity" value={name}
              checked={name === chosen} onChange={() => choose(name)}
            />
            {title}
          </label>
        ))}
      </fieldset>
      {rest.length > 0 && (
        <select
          class="more" aria-label="More quantities" value=""
          onChange={(event) => { choose(event.currentTarget.value); event.currentTarget.value = ""; }}
        >
          <option value="" disabled hidden>More …</option>
          {rest.map(([name, title]) => <option key={name} value={name}>{title}</option>)}
        </select>
      )}
    </div>
  );
}
