/**
 * The commands that look into files and make new ones of them. They are the same on the command line and at the prompt.
 * @module
 */
import { convertCommand } from "./commands/convert.ts";
import { diffCommand } from "./commands/diff.ts";
import { explainCommand } from "./commands/explain.ts";
import { extractCommand } from "./commands/extract.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { salvageCommand } from "./commands/salvage.ts";
import { verifyCommand } from "./commands/verify.ts";
import { whyCommand } from "./commands/why.ts";
import type { CommandModule } from "./program.ts";

/** In the order of the help. */
export const REPORTS: readonly CommandModule[] = [
  inspectCommand,
  explainCommand,
  verifyCommand,
  whyCommand,
  diffCommand,
  convertCommand,
  extractCommand,
  salvageCommand,
];
