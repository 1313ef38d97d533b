// Unit tests run without a browser; the page as a whole is tested in Chromium by
// tests/report on the Python side.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["test/**/*.test.{ts,tsx}"], environment: "happy-dom" },
});
