//! Where the service is and who is asking: settings from flags, environment and files, and the
//! URL a bucket has under them.

mod address;
mod file;
mod settings;

pub(crate) use address::{Addressing, Endpoint, Target, is_localhost};
pub(crate) use settings::{AdminSettings, Settings, admin_flags, flags, read, read_admin};
