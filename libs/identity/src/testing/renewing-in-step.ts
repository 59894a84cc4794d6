import { renewIdentity } from '../enrolment.ts';
import { readIdentityFolder } from '../identity-folder.ts';

/** Renews the identity in a folder once for each message, and says how it went. */
const [, , directory = ''] = process.argv;
const { enrol } = readIdentityFolder(directory).facts;
process.on('message', () => {
  void renewIdentity(directory, enrol).then(
    () => process.send?.('renewed'),
    (error: unknown) => process.send?.(String(error)),
  );
});
process.send?.('ready');
