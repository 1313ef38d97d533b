// The whole page: one run's data in, the view of it out.
import type { PageData } from "../data";
import { useTheme } from "../theme";
import { RunPage } from "./RunPage";

export function App({ data }: { data: PageData }) {
  const [theme, flip] = useTheme();
  return <RunPage data={data} theme={theme} flip={flip} />;
}
