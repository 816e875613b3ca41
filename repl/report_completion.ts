/**
 * The Tab key on the line of a report: its options, their values, and files.
 *
 *     verify --against qemu-sys|             ^ a file, as the option wants one
 *     convert vm.sav out --to lib|           ^ one of the few words it takes
 *
 * @module
 */
import { completePath, type Completion, NOTHING, some, whole } from "./candidates.ts";
import type { CommandShape, OptionShape } from "./command_shape.ts";
import type { LineWords } from "./line_words.ts";

/**
 * Complete the last word.
 * @param line begins with the report's name
 */
export function completeReport(shape: CommandShape, { words, last }: LineWords): Completion {
  const done = words.slice(1, last === "" ? undefined : -1);
  const named = (word = "") => shape.options.find(({ short, long }) => word === short || word === long);
  const behind = done.indexOf("--") >= 0;
  if (!behind) {
    const option = named(done.at(-1));
    if (option?.value !== undefined) return valueOf(option, last);
    const joined = /^(--[a-z-]+)=(.*)$/s.exec(last);
    if (joined) {
      const owner = named(joined[1]);
      return owner?.value === undefined ? NOTHING : valueOf(owner, joined[2]);
    }
    if (last.startsWith("-")) {
      const open = shape.options.filter(({ short, long, repeatable }) =>
        repeatable || !done.some((word) => word === short || word === long)
      );
      return whole(open.flatMap(({ long, short }) => long ?? short ?? []), last);
    }
  }
  const hint = `${shape.name} ${shape.usage} -- ${shape.description}`;
  const found = shape.choices.length > 0 ? whole(shape.choices, last) : completePath(last, true);
  return last === "" && done.length === 0 ? { ...found, hint } : found;
}

function valueOf(option: OptionShape, typed: string): Completion {
  if (option.choices) return whole(option.choices, typed);
  if (option.file) return completePath(typed, true);
  return { ...some([], typed), hint: `${option.long ?? option.short} <${option.value}> -- ${option.description}` };
}
