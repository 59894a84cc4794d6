export { createAuthority, hasAuthority, openAuthority } from './authority.ts';
export type { Authority, AuthorityOptions } from './authority.ts';
export { BACKDATE_MS } from './certificate.ts';
export { RequestError, certificateFingerprint, keyFingerprint, requestedKeyFingerprint } from './certificate-key.ts';
export { makePrivateKey, requestFor } from './certificate-request.ts';
export type { KeyWithRequest } from './certificate-request.ts';
export { completeChain, readVerifiedEndEntity, verifyChain, verifyChainInFull } from './chain.ts';
export type { ChainPurpose, VerifiedChain, VerifiedEndEntity } from './chain.ts';
export { CredentialError, isCredentialProblem, joinOnce, openCredentials } from './credentials.ts';
export type { CredentialFolder, CredentialNews, CredentialOptions, Credentials } from './credentials.ts';
export { EnrolmentError } from './enrolment-error.ts';
export type { EnrolmentStage } from './enrolment-error.ts';
export { askForIntermediate, joinByToken, probeEnrolment, renewIdentity } from './enrolment.ts';
export type { IntermediateAsk, JoinAs, JoinOptions } from './enrolment.ts';
export {
  hasIdentity,
  installIdentity,
  nextKey,
  prepareIdentityFolder,
  readIdentityFacts,
  readIdentityFolder,
} from './identity-folder.ts';
export type { EnrolmentAddress, IdentityFacts, StoredIdentity } from './identity-folder.ts';
export { describeIdentity, identityUri, isDomain, isName, isProxyName, isUserName, parseIdentity } from './identity.ts';
export type { Identity, IdentityProblem } from './identity.ts';
export { hasIntermediate, openIntermediateIssuer, readIntermediate, renewIntermediate } from './intermediate.ts';
export type { Intermediate, IntermediateIssuerOptions } from './intermediate.ts';
export type { CertificateIssuer, IssuedCertificate, SignedCertificate } from './issuer.ts';
export { joinTokenHash, joinTokenText, makeJoinToken, parseJoinToken, pinOf } from './join-token.ts';
export type { JoinToken } from './join-token.ts';
export {
  KeyFileError,
  assertPrivateDirectory,
  makePrivateDirectory,
  readCertificateFile,
  readKeyFile,
  writeCertificateFile,
  writeKeyFile,
} from './key-file.ts';
export {
  ACCESS_TOKEN_FILE,
  isUserPin,
  logIn,
  logOut,
  loginNonce,
  shownRoot,
  trustByPin,
  userPinOf,
  waysToLogIn,
} from './login.ts';
export type { LoginOptions, LoginProof, StoredLogin } from './login.ts';
export type { WaysIn } from './enrolment-exchange.ts';
export { derOfPem, pemOfDer } from './pem.ts';
export { canonicalPolicy } from './policy/canonical.ts';
export type { PolicyProblem } from './policy/document.ts';
export { isGroupName } from './policy/grammar.ts';
export { problemText, readCanonicalPolicy, readPolicy, readPolicyInSteps } from './policy/read-policy.ts';
export type { PolicyOutcome } from './policy/read-policy.ts';
export { POLICY_LIMITS } from './policy/schema.ts';
export type { KnownNames } from './policy/warnings.ts';
export { openRootFolder } from './root-folder.ts';
export type { RootCertificate, RootFolder, RootFolderOptions } from './root-folder.ts';
export { Secret } from './secret.ts';
export { readSecret } from './secret-file.ts';
export { isSignedEvidence } from './statements/evidence.ts';
export type { ShownEvidence } from './statements/evidence.ts';
export { membershipDigest } from './statements/digest.ts';
export { StatementError, StatementSigner } from './statements/signer.ts';
export type { SignerOptions } from './statements/signer.ts';
export {
  CLOCK_TOLERANCE_MS,
  MAX_ACCESS_LIFETIME_MS,
  MAX_GRANT_LIFETIME_MS,
  MAX_REVOKED_PROXIES,
  MAX_STANDING_LIFETIME_MS,
  MAX_STATEMENT_CHARACTERS,
} from './statements/types.ts';
export type {
  AccessToken,
  DialGrant,
  MembershipStatement,
  RefusedStatement,
  RevokedProxiesStatement,
  StandingGrant,
  VerifiedStatement,
} from './statements/types.ts';
export { statementKind, StatementVerifier } from './statements/verifier.ts';
export type { VerifierOptions } from './statements/verifier.ts';
export { signDial } from './statements/possession.ts';
export type { ProvenDial } from './statements/possession.ts';
export { UserProofs } from './statements/user-proofs.ts';
export type { ProvenUser, UserProof, UserProofOptions } from './statements/user-proofs.ts';
export { VerifiedChains } from './statements/verified-chains.ts';
export type { TlsFiles, TlsMaterial } from './tls-material.ts';
export { fileTlsSource, isSignedByOwn, memoryTlsSource } from './tls-source.ts';
export type { FileTlsOptions, FileTlsSource, TlsSource } from './tls-source.ts';
