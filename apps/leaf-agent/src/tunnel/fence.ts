export { DialFence as Fence } from '@xylem/discovery';
