import { renewIdentity } from '../enrolment.ts';
import { readIdentityFolder } from '../identity-folder.ts';

/** Renews the identity in a folder again and again until it is killed. */
const [, , directory = ''] = process.argv;
const { enrol } = readIdentityFolder(directory).facts;
process.send?.('renewing');
for (;;) await renewIdentity(directory, enrol);
