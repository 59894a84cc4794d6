import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

/** npm passes on the signals of the terminal as well; what repeats within this time is one key press. */
const REPEAT_MS = 500;
const FORWARDED = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']);
/** What a terminal sends to every process of its foreground group by itself. */
const FROM_TERMINAL = new Set(['SIGINT', 'SIGQUIT', 'SIGHUP']);

/**
 * Runs a Node program on our stdio until it ends, passing signals on so that it sees each of them once. It is stopped by SIGTERM when
 * this process is killed.
 * @param {string} executable
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<number>} its exit status; 128 + the signal's number where a signal ended it
 */
export function runChild(executable, args, env) {
  return new Promise((resolve, reject) => {
    const lifeline = new URL(`lifeline.mjs?launcher=${process.pid}`, import.meta.url);
    const child = spawn(executable, [`--import=${lifeline.href}`, ...args], {
      // The last is the lifeline: it ends with this process, however that ends.
      stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
      env,
    });
    /** @type {Map<string, number>} */
    const lastSent = new Map();
    for (const signal of FORWARDED) {
      process.on(signal, () => {
        if (FROM_TERMINAL.has(signal) && inForegroundOfTerminal()) return;
        const now = performance.now();
        if (now - (lastSent.get(signal) ?? -Infinity) < REPEAT_MS) return;
        lastSent.set(signal, now);
        child.kill(signal);
      });
    }
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

/** Is our process group the one that the terminal sends its signals to? */
function inForegroundOfTerminal() {
  try {
    // proc(5): after the parenthesised name come state, ppid, pgrp, session, tty_nr, tpgid.
    const fields = readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return fields[2] !== undefined && fields[2] === fields[5];
  } catch {
    return process.stdin.isTTY;
  }
}
