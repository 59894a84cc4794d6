export { RequestError, createAuthority, hasAuthority, openAuthority } from './authority.ts';
export type { Authority, AuthorityOptions, IssuedCertificate, SignedCertificate } from './authority.ts';
export { verifyChain, verifyChainInFull } from './chain.ts';
export type { ChainPurpose, VerifiedChain } from './chain.ts';
export { describeIdentity, identityUri, isDomain, isName, isUserName, parseIdentity } from './identity.ts';
export type { Identity, IdentityProblem } from './identity.ts';
export { joinTokenHash, joinTokenText, makeJoinToken, parseJoinToken, pinOf } from './join-token.ts';
export type { JoinToken } from './join-token.ts';
export {
  KeyFileError,
  makePrivateDirectory,
  readCertificateFile,
  readKeyFile,
  writeCertificateFile,
  writeKeyFile,
} from './key-file.ts';
export { derOfPem, pemOfDer } from './pem.ts';
export { Secret } from './secret.ts';
export { readSecret } from './secret-file.ts';
export { fileTlsSource, isSignedByOwn, memoryTlsSource } from './tls-source.ts';
export type { FileTlsOptions, FileTlsSource, TlsFiles, TlsMaterial, TlsSource } from './tls-source.ts';
