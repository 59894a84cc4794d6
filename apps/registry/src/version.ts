/** Shown by --version and in spans. */
export const SOFTWARE_VERSION = '0.1.0';
