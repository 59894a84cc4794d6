export { RequestError, createAuthority, hasAuthority, openAuthority } from './authority.ts';
export type { Authority, AuthorityOptions, IssuedCertificate, SignedCertificate } from './authority.ts';
export { describeIdentity, identityUri, isDomain, isName, isUserName, parseIdentity } from './identity.ts';
export type { Identity, IdentityProblem } from './identity.ts';
export {
  KeyFileError,
  makePrivateDirectory,
  readCertificateFile,
  readKeyFile,
  writeCertificateFile,
  writeKeyFile,
} from './key-file.ts';
export { Secret } from './secret.ts';
export { fileTlsSource, isSignedByOwn, memoryTlsSource } from './tls-source.ts';
export type { FileTlsOptions, FileTlsSource, TlsFiles, TlsMaterial, TlsSource } from './tls-source.ts';
