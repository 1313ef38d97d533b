import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  js.configs.recommended,
  ...tseslint.configs.strict,
  {
    rules: {
      "max-lines": ["error", { max: 400 }],
      "max-lines-per-function": ["error", { max: 80, skipBlankLines: true, skipComments: true }],
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Text from a record is set as text nodes only." },
        { property: "outerHTML", message: "Text from a record is set as text nodes only." },
        { property: "insertAdjacentHTML", message: "Text from a record is set as text nodes only." },
      ],
      "no-restricted-syntax": [
        "error",
        {
          selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']",
          message: "Text from a record is set as text nodes only.",
        },
      ],
    },
  },
);
