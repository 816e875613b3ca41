/**
 * The waist of an attached session: commands by their QMP names, carried out by a running QEMU.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { AttachedSession } from "./attached_session.ts";
import type { CapabilityChange } from "./capabilities.ts";
import type { Arguments, Command, Monitor } from "./command.ts";
import { closeHeld } from "./fds.ts";
import type { MigrationInfo } from "./migration_info.ts";
import type { Remote, RemoteOptions } from "./remote.ts";
import type { NameKind, Names } from "./remote_names.ts";
import { QEMU_VERSION } from "./session.ts";

/** ms a QEMU has to answer, unless what it was asked may take as long as it likes. */
const PATIENCE_MS = 120_000;
/** Commands that work through memory or disks before they answer. */
const SLOW =
  /^(human-monitor-command|migrate-incoming|p?memsave|dump-guest-memory|snapshot-|blockdev-|device_add|quit)/;

/** What the commands of an attached session work with. */
export class RemoteQemu implements Remote {
  readonly #session: AttachedSession;
  readonly #ramBytes: number;

  constructor(session: AttachedSession, ramBytes: number) {
    this.#session = session;
    this.#ramBytes = ramBytes;
  }

  /** Behind a lost connection there may be another one. */
  get fluent(): boolean {
    const { major, minor } = this.#session.client.greeting.version.qemu;
    return major === QEMU_VERSION.major && minor === QEMU_VERSION.minor;
  }

  get address(): string {
    return this.#session.client.address;
  }

  get passesFds(): boolean {
    return this.#session.client.passesFds;
  }

  get ramBytes(): number {
    return this.#session.info().ram?.total ?? this.#ramBytes;
  }

  async run(command: Command, args: Arguments, monitor: Monitor): Promise<unknown> {
    const { name } = command.qmp!;
    if (name === "migrate-set-capabilities") return await this.#setCapabilities(args, monitor);
    const { detach: _, ...rest } = args;
    const options = { fd: monitor.takeFd(), oob: command.qmp!.oob };
    try {
      return await this.execute(name, name === "migrate" ? rest : args, options);
    } catch (error) {
      throw error instanceof CommandError ? withHint(error) : error;
    }
  }

  async execute(name: string, args: Arguments, { fd, oob }: RemoteOptions = {}): Promise<unknown> {
    // a destination that reads a file answers nobody before its end
    const slow = SLOW.test(name) || this.#session.incoming.running;
    const timeoutMs = slow ? undefined : PATIENCE_MS;
    if (name === "quit") this.#session.quitting = true;
    try {
      const value = await this.#session.client.execute(name, args, { fd, oob, timeoutMs });
      if (name === "query-migrate") this.#session.took(value as MigrationInfo);
      await this.#session.changed(name, args);
      return value;
    } catch (error) {
      if (name === "quit") this.#session.quitting = false;
      throw error;
    } finally {
      if (fd) closeHeld(fd);
    }
  }

  async line(text: string): Promise<string> {
    const out = await this.execute("human-monitor-command", { "command-line": text });
    return String(out).replaceAll("\r\n", "\n");
  }

  learn(): Promise<void> {
    return this.#session.learn();
  }

  names(kind: NameKind, typed: string, before: readonly string[]): Promise<Names> {
    return this.#session.names(kind, typed, before);
  }

  /** QEMU decides; our rules add what it told only its stderr. */
  async #setCapabilities(args: Arguments, monitor: Monitor): Promise<unknown> {
    const judged = this.#session.judge(args.capabilities as CapabilityChange[], (text) => monitor.warn(text));
    try {
      return await this.execute("migrate-set-capabilities", args);
    } catch (error) {
      if (!(error instanceof CommandError) || judged?.message !== error.message) throw error;
      throw new CommandError(error.message, judged.hint, error.errorClass);
    }
  }
}

/** Hints of QEMU's that HMP shows and QMP leaves out, by what they explain. */
const HINTS: readonly (readonly [refusal: RegExp, hint: string])[] = [
  [/^UNIX socket path '.*' is too long$/s, "Path must be less than 108 bytes"],
];

function withHint(error: CommandError): CommandError {
  const found = HINTS.find(([refusal]) => refusal.test(error.message));
  return found ? new CommandError(error.message, [found[1]], error.errorClass) : error;
}
