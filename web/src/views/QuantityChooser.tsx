// Which quantity the map shows: names in, a row of radio buttons out.
interface Props {
  options: [name: string, title: string][];
  chosen: string;
  choose: (name: string) => void;
}

export function QuantityChooser({ options, chosen, choose }: Props) {
  return (
    <fieldset class="segments" data-view="quantities">
      <legend>Quantity on the map</legend>
      {options.map(([name, title]) => (
        <label key={name} class={name === chosen ? "on" : ""}>
          <input
            type="radio" name="quantity" value={name}
            checked={name === chosen} onChange={() => choose(name)}
          />
          {title}
        </label>
      ))}
    </fieldset>
  );
}
