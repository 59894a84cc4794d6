/** Calls back once when standard input ends: whoever started this process is gone. */
export function onLifelineCut(stop: () => void): void {
  let cut = false;
  const end = (): void => {
    if (!cut) stop();
    cut = true;
  };
  process.stdin.on('end', end);
  process.stdin.on('error', end);
  process.stdin.resume();
}
