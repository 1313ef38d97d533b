// The numbers that speak for a finding: a finding in, rows with a picture out.
import type { Evidence, Finding } from "../data";
import { distance, number, step } from "../format";
import { birth, place, plain, sentence, spaced } from "../words";

const SHOWN_DECADES = 4;

/** Where a non-finite value came into being: the keys of a finding that say so. */
const BIRTH = ["module", "operation", "line", "direction", "tensor", "certain"];

export function EvidenceTable({ finding }: { finding: Finding }) {
  const details = Object.entries(finding.detail)
    .filter(([key, value]) => !BIRTH.includes(key) && plain(value) !== "");
  const born = BIRTH.map((key) => finding.detail[key]).some((value) => plain(value ?? "") !== "");
  return (
    <div class="finding">
      <p class="symptom">
        <b>{sentence(finding.signature)}</b>{" "}
        <span>in {place(finding.layer)}, from step {step(finding.onset)}
          {finding.layers.length > 1 ? `, in ${finding.layers.length} layers in all` : ""}
        </span>
      </p>
      <ul class="evidence">
        {finding.evidence.map((one, index) => <Row key={index} one={one} />)}
      </ul>
      {born && <p class="born">{birth(finding.detail)}</p>}
      {details.length > 0 && (
        <details class="detail">
          <summary>More numbers</summary>
          <dl>
            {details.slice(0, 24).map(([key, value]) => (
              <div key={key}><dt>{spaced(key)}</dt><dd>{plain(value)}</dd></div>
            ))}
          </dl>
        </details>
      )}
    </div>
  );
}

/** A value that is no number is evidence by itself. */
function bounded(one: Evidence): boolean {
  return typeof one.observed === "number";
}

function Row({ one }: { one: Evidence }) {
  const far = distance(one.observed, one.bound);
  return (
    <li>
      <span class="what">{one.series}</span>
      <span class="numbers">
        <b>{number(one.observed)}</b>
        <Gauge observed={one.observed} bound={one.bound} />
        {bounded(one) && <span class="bound">bound {number(one.bound)}{far ? `, ${far}` : ""}</span>}
      </span>
      <span class="source">{one.source}</span>
    </li>
  );
}

/** The bound in the middle, the observed value as many decades away as it is. */
function Gauge({ observed, bound }: { observed: Evidence["observed"]; bound: Evidence["bound"] }) {
  if (typeof observed !== "number" || typeof bound !== "number") return null;
  const decades = observed > 0 && bound > 0 ? Math.log10(observed / bound) : Math.sign(observed - bound) * SHOWN_DECADES;
  const at = 50 + 44 * Math.max(-1, Math.min(1, decades / SHOWN_DECADES));
  return (
    <svg class="gauge" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
      <line class="rail" x1="2" x2="98" y1="6" y2="6" />
      <line class="reach" x1="50" x2={at} y1="6" y2="6" />
      <line class="limit" x1="50" x2="50" y1="1" y2="11" />
      <ellipse class="seen" cx={at} cy="6" rx="3" ry="3.6" />
    </svg>
  );
}
