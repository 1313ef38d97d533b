// The end of a run's page: where it comes from in, how to keep it out.
interface Props {
  name: string;
  /** Where the report can be fetched; null where this is one. */
  report: string | null;
}

export function PageFoot({ name, report }: Props) {
  if (report === null) {
    return (
      <footer>
        Drawn by Surefoot from the record of {name}. This page holds all of its
        data and asks nothing of any network.
      </footer>
    );
  }
  return (
    <footer>
      Drawn by Surefoot from the record of {name}.{" "}
      <a href={report} download={`${name}.html`}>Save this page as one file</a>, to read
      without a server or to send to somebody.
    </footer>
  );
}
