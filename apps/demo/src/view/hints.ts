import { relative } from 'node:path';
import type { Deployment } from '../deployment.ts';

/** Lines to paste into another terminal, with what they do. */
export function hints(deployment: Deployment, directory: string): readonly (readonly [string, string])[] {
  const here = (path: string): string => {
    const short = relative(directory, path);
    return short === '' || short.startsWith('..') ? path : short.includes('/') ? short : `./${short}`;
  };
  const xylem = here(deployment.xylem);
  const { sshConfig, doors } = deployment;
  return [
    [`curl -p -x http://${doors.frontDoor} http://web.berlin/`, 'a web page behind the firewall'],
    ...(sshConfig === undefined
      ? []
      : ([
          [`ssh -F ${here(sshConfig)} web.berlin`, 'a shell behind the firewall'],
          [`scp -F ${here(sshConfig)} README.md web.berlin:/tmp/`, 'a file to it'],
        ] as const)),
    [`${xylem} ls`, 'everything that can be reached'],
    [`${xylem} status`, 'who holds which claim'],
    [`${xylem} connect echo.tokyo`, 'type, and it comes back (Ctrl-D ends it)'],
  ];
}
