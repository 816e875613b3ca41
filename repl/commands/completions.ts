/**
 * `miglab completions bash|zsh|fish`: a script for the shell, made from the program's own commands and options.
 * @module
 */
import { Argument } from "@commander-js/extra-typings";
import { refuseOthers, takes } from "../options.ts";
import type { CommandModule } from "../program.ts";

const DETAILS = `
Examples:
  source <(miglab completions bash)                                   in ~/.bashrc
  miglab completions zsh > ~/.zsh/functions/_miglab                   a directory of $fpath
  miglab completions fish > ~/.config/fish/completions/miglab.fish`;

/** Declares `completions`. */
export const completionsCommand: CommandModule = (root, context) => {
  root.command("completions")
    .summary("a script for the Tab key of a shell")
    .description("Print a script that completes miglab's command line in a shell.")
    .addArgument(new Argument("<shell>", "the shell").choices(["bash", "zsh", "fish"] as const))
    .addHelpText("after", DETAILS)
    .action(async (shell) => {
      refuseOthers(root, "completions");
      const [{ completionScript }, { shapeOf }] = await Promise.all([
        import("../shell_completion.ts"),
        import("../command_shape.ts"),
      ]);
      context.output.out(completionScript(shell, shapeOf(root, takes)));
    });
};
