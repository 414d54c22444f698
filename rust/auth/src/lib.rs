//! Users, permissions and account definitions; whoever authenticates hands out an account and permissions.
