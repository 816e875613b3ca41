/**
 * Completion scripts for shells: commands, options, values that are one of a few words, and files for everything else. The
 * script holds all it needs, so that the Tab key starts no program.
 *
 * Sources of the forms: bash(1) "Programmable Completion", zshcompsys(1) `_arguments`, fish complete(1).
 * @module
 */
import { type CommandShape, names, type OptionShape, type ProgramShape } from "./command_shape.ts";

/** Shells there is a script for. */
export type Shell = "bash" | "zsh" | "fish";

/** The script for one shell. */
export function completionScript(shell: Shell, program: ProgramShape): string {
  return { bash, zsh, fish }[shell](program);
}

const flagsOf = ({ short, long }: OptionShape) => [short, long].filter((flag) => flag !== undefined);

function bash({ name, options, commands }: ProgramShape): string {
  const all = [...options, ...commands.flatMap((command) => command.options)];
  const patterns = (list: readonly OptionShape[]) => [...new Set(list.flatMap(flagsOf))].join("|");
  const withValue = all.filter(({ value }) => value);
  const behind = (command: string, list: readonly OptionShape[]) =>
    [...new Set(list.flatMap(flagsOf))].map((flag) => `${command}:${flag}`).join("|");
  const chosen = [{ name: "*", options }, ...commands].flatMap((command) =>
    command.options.filter((option) => option.choices && (command.name === "*" || !options.includes(option)))
      .map((option) => `    ${behind(command.name, [option])}) words="${option.choices!.join(" ")}" ;;`)
  );
  const files = withValue.filter(({ file }) => file);
  const free = withValue.filter(({ choices, file }) => !choices && !file);
  const offer = 'mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames 2>/dev/null; return';
  const flags = (list: readonly OptionShape[]) => list.flatMap(flagsOf).join(" ");
  const lines = [
    `# bash completion of ${name}: source <(${name} completions bash)`,
    `_${name}() {`,
    "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= words= i",
    "  # --option=value arrives as three words",
    "  if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi",
    "  for ((i = 1; i < COMP_CWORD; i++)); do",
    "    case ${COMP_WORDS[i]} in",
    `      ${patterns(withValue)}) ((i++)) ;;`,
    `      ${names(commands).join("|")}) command=\${COMP_WORDS[i]}; break ;;`,
    "    esac",
    "  done",
    "  COMPREPLY=()",
    "  case $command:$prev in",
    ...chosen,
    `    ${behind("*", files)}) ${offer} ;;`,
    `    ${behind("*", free)}) return ;;`,
    "    *)",
    "      case $command:$cur in",
    ...commands.map((command) => `        ${command.name}:-*) words="${flags(command.options)}" ;;`),
    `        :-*) words="${flags(options)}" ;;`,
    `        :*) words="${names(commands).join(" ")}" ;;`,
    ...commands.map((command) =>
      `        ${command.name}:*) ${command.files ? offer : `words="${command.choices.join(" ")}"`} ;;`
    ),
    "      esac ;;",
    "  esac",
    '  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")',
    "}",
    `complete -F _${name} ${name}`,
  ];
  return lines.join("\n") + "\n";
}

function zsh({ name, options, commands }: ProgramShape): string {
  const lines = [
    `#compdef ${name}`,
    `# zsh completion of ${name}: a file _${name} in a directory of $fpath`,
    `_${name}() {`,
    "  local context state state_descr line",
    "  typeset -A opt_args",
    "  local -a root=(",
    ...options.flatMap(zshOption).map((spec) => `    ${spec}`),
    "  )",
    "  _arguments -C $root '1:command:->command' '*::argument:->argument'",
    "  case $state in",
    "    command)",
    "      local -a commands=(",
    ...commands.map((command) => `        ${quoted(`${command.name}:${command.description}`)}`),
    "      )",
    "      _describe command commands ;;",
    "    argument)",
    "      case $line[1] in",
    ...commands.map((command) => {
      const rest = command.choices.length > 0
        ? quoted(`1:argument:(${command.choices.join(" ")})`)
        : quoted(command.files ? "*:file:_files" : "*: :");
      return `        ${command.name}) _arguments ${[...command.options.flatMap(zshOption), rest].join(" ")} ;;`;
    }),
    "      esac ;;",
    "  esac",
    "}",
    `if [ "$funcstack[1]" = _${name} ]; then _${name} "$@"; else compdef _${name} ${name}; fi`,
  ];
  return lines.join("\n") + "\n";
}

function zshOption(option: OptionShape): string[] {
  const text = option.description.replace(/[[\]:\\]/g, "\\$&");
  const action = option.choices ? `(${option.choices.join(" ")})` : option.file ? "_files" : " ";
  const value = option.value ? `:${option.value}:${action}` : "";
  return flagsOf(option).map((flag) => quoted(`${option.repeatable ? "*" : ""}${flag}[${text}]${value}`));
}

function fish({ name, options, commands }: ProgramShape): string {
  const seen = (command: CommandShape) => `-n '__fish_seen_subcommand_from ${command.name}'`;
  const lines = [
    `# fish completion of ${name}: ~/.config/fish/completions/${name}.fish`,
    `complete -c ${name} -f`,
    ...options.map((option) => `complete -c ${name} -n __fish_use_subcommand ${fishOption(option)}`),
    ...commands.map((command) =>
      `complete -c ${name} -n __fish_use_subcommand -a ${command.name} -d ${quoted(command.description)}`
    ),
    ...commands.flatMap((command) => [
      ...(command.files ? [`complete -c ${name} ${seen(command)} -F`] : []),
      ...(command.choices.length > 0
        ? [`complete -c ${name} ${seen(command)} -a ${quoted(command.choices.join(" "))}`]
        : []),
      ...command.options.map((option) => `complete -c ${name} ${seen(command)} ${fishOption(option)}`),
    ]),
  ];
  return lines.join("\n") + "\n";
}

function fishOption({ short, long, description, value, choices, file }: OptionShape): string {
  const parts = [];
  if (short) parts.push(`-s ${short.slice(1)}`);
  if (long) parts.push(`-l ${long.slice(2)}`);
  if (choices) parts.push(`-x -a ${quoted(choices.join(" "))}`);
  else if (value) parts.push(file ? "-r -F" : "-x");
  parts.push(`-d ${quoted(description)}`);
  return parts.join(" ");
}

/** In single quotes, for all three shells. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
