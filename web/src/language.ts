// A language that numbers can be formatted in: the browser's own in, a valid one out.
//
// Chromium without a locale calls its language "en-US@posix", which Intl refuses and
// uPlot asks it for on loading. Must be imported before uPlot.

export function repair(navigator: Navigator): void {
  try {
    new Intl.NumberFormat(navigator.language);
  } catch {
    Object.defineProperty(navigator, "language", { value: "en-US", configurable: true });
  }
}

repair(window.navigator);
