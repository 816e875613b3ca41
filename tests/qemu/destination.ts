/**
 * The command line of a destination for a captured guest.
 * @module
 */
import type { Capture } from "../fixtures.ts";

/**
 * Arguments for a QEMU that waits (`-incoming defer`) for a capture: those it was made with, without its content.
 * @param directory where its firmware and disks are made, empty: the stream overwrites them
 * @param machine   versioned name, as the stream has it; empty: as on its command line
 */
export function destination(entry: Capture, directory: string, machine: string): string[] {
  for (const { file, size } of entry.aux_files as { file: string; size: number }[]) {
    Deno.createSync(`${directory}/${file}`).close();
    Deno.truncateSync(`${directory}/${file}`, size);
  }
  const [, ...words] = (entry.restore_command_line ?? entry.command_line) as string[];
  const args: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const value = words[i + 1] ?? "";
    if (word === "-S" || word === "-nodefaults") continue;
    if (word === "-accel" || word === "-display" || (word === "-device" && value.startsWith("loader"))) {
      i++;
    } else if (word === "-machine") {
      args.push(word, machine ? value.replace(/^[^,]+/, machine) : value);
      i++;
    } else if (word === "-bios") {
      args.push(word, `${directory}/${value}`);
      i++;
    } else args.push(word.replace(/\bfile=/g, `file=${directory}/`));
  }
  return [...args, "-S", "-incoming", "defer"];
}
