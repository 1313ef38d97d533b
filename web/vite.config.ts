// In: src/main.tsx. Out: page.js and page.css, the two files that the Python
// package inlines into a report and that a server can hand out.
import { defineConfig } from "vite";

export default defineConfig({
  build: {
    outDir: "../src/surefoot/report/assets",
    emptyOutDir: true,
    target: "es2022",
    lib: {
      entry: "src/main.tsx",
      formats: ["iife"],
      name: "surefoot",
      fileName: () => "page.js",
      cssFileName: "page",
    },
  },
  define: { "process.env.NODE_ENV": JSON.stringify("production") },
});
