/** `npm run generate`: writes anew what is generated from proto/. */
import { dirname } from 'node:path';

import { generated } from './checks/proto.ts';

const outcome = await generated.fix?.(dirname(import.meta.dirname));
if (outcome?.kind === 'failed') console.error(outcome.output);
process.exit(outcome?.kind === 'passed' ? 0 : 1);
