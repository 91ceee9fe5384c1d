//! Files that appear whole or not at all.

use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes a file under a temporary name in the same folder, then renames it: an earlier file of that name is whole at every moment.
///
/// # Errors
/// Where the folder can't be written to.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // Temporary files are private; this one is to be as any other file of its owner, less what the umask takes.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(".svertka-").tempfile_in(folder).map_err(Error::io(folder))?;
    // The file itself: its wrapper would put the temporary name into the error.
    let inner = file.as_file_mut();
    inner.write_all(bytes).and_then(|()| inner.sync_all()).map_err(Error::io(path))?;
    file.persist(path).map_err(|error| Error::io(path)(error.error))?;
    Ok(())
}
