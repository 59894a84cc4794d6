/** Wakes everyone who waits at the moment it is raised; raising it with nobody waiting does nothing. */
export class Signal {
  #waiting: PromiseWithResolvers<void> | undefined;

  raised(): Promise<void> {
    this.#waiting ??= Promise.withResolvers<void>();
    return this.#waiting.promise;
  }

  raise(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}
