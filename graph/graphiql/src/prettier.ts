// What GraphiQL takes for Prettier: Prettier for GraphQL, and for JSON the parser that is in the page anyway.

import type { Options } from 'prettier';
import { applyEdits, format as formattingOf } from 'jsonc-parser';
import * as prettier from 'prettier/standalone';

export const parsers = {};
export const printers = {};

export function format(text: string, options: Options): string | Promise<string> {
  if (options.parser !== 'jsonc') return prettier.format(text, options);
  return applyEdits(text, formattingOf(text, undefined, { insertSpaces: true, tabSize: 2 }));
}
