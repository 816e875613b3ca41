/**
 * The core's command table: every command that is not a plugin's.
 * @module
 */
import type { Command } from "./command.ts";
import { DESCRIPTOR_COMMANDS } from "./commands/descriptors.ts";
import { DEVICE_COMMANDS } from "./commands/devices.ts";
import { DIRTY_RATE_COMMANDS } from "./commands/dirty_rate.ts";
import { IDENTITY_COMMANDS } from "./commands/identity.ts";
import { MEMORY_COMMANDS } from "./commands/memory.ts";
import { MIGRATION_COMMANDS } from "./commands/migration.ts";
import { RUN_STATE_COMMANDS } from "./commands/run_state.ts";
import { SETTINGS_COMMANDS } from "./commands/settings.ts";
import { SNAPSHOT_JOB_COMMANDS } from "./commands/snapshot_jobs.ts";

/** All of them. `help`, `info` and `human-monitor-command` belong to the layers themselves. */
export const CORE_COMMANDS: readonly Command[] = Object.freeze([
  ...MIGRATION_COMMANDS,
  ...SETTINGS_COMMANDS,
  ...RUN_STATE_COMMANDS,
  ...MEMORY_COMMANDS,
  ...DESCRIPTOR_COMMANDS,
  ...DIRTY_RATE_COMMANDS,
  ...DEVICE_COMMANDS,
  ...SNAPSHOT_JOB_COMMANDS,
  ...IDENTITY_COMMANDS,
]);
