//! A damaged file is replaced by one that has what is intact, and kept beside it.

use std::{
    fs, io, iter,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use ::redb::{Builder, backends::FileBackend};
use buttress::store::StoreError;

use super::{
    overlay::Overlay,
    scrub::{Damaged, Scrubbed},
    trouble::{self, Stop},
};

/// Writes what is in a damaged file to a new one, which takes its place; the old one stays beside it as
/// `.damaged`. Returns what was found, or why the old one was left where it is.
///
/// The damaged file is not written to: redb would trust what it reads there.
pub(super) fn rescue(path: &Path) -> Result<Vec<Damaged>, StoreError> {
    let name = path.display().to_string();
    let failed = |error: io::Error| trouble::io_error(&name, "rescue", error);
    let file = fs::OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    // Until the end, which is when it is closed.
    let locked = file.try_clone().map_err(failed)?;
    if locked.try_lock().is_err() {
        return Err(trouble::engine(&name, ::redb::Error::DatabaseAlreadyOpen));
    }
    let scrubbed = read(file, &name)?;
    let anew = beside(path, "rescued");
    let made =
        write(&scrubbed, &anew, path).and_then(|()| exchange(path, &anew).map_err(Into::into));
    if let Err(stop) = made {
        let _ = fs::remove_file(&anew);
        return Err(stop.tell(&name));
    }
    // The file itself, and then what is in it.
    Ok(iter::once((None, 0)).chain(scrubbed.found).collect())
}

fn read(file: fs::File, name: &str) -> Result<Scrubbed, StoreError> {
    let mut database = None;
    let read = catch_unwind(AssertUnwindSafe(|| {
        let overlay = Overlay::new(file).map_err(::redb::StorageError::Io)?;
        let database = database.insert(overlay.database()?);
        Scrubbed::read(&database.begin_read()?, name)
    }));
    // Not while another panic unwinds: it may panic itself.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    match read {
        Ok(read) => read.map_err(|stop: Stop| stop.tell(name)),
        Err(payload) => Err(trouble::panicked(name, &*payload)),
    }
}

fn write(scrubbed: &Scrubbed, anew: &Path, like: &Path) -> Result<(), Stop> {
    let io = ::redb::StorageError::Io;
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(anew)
        .map_err(io)?;
    let old = fs::metadata(like).map_err(io)?;
    fs::set_permissions(anew, old.permissions()).map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        // Only root may give files away; for others it is theirs already.
        let _ = std::os::unix::fs::chown(anew, Some(old.uid()), Some(old.gid()));
    }
    let database = Builder::new().create_with_backend(FileBackend::new(file)?)?;
    let transaction = database.begin_write()?;
    scrubbed.write(&transaction)?;
    transaction.commit()?;
    Ok(database.close()?)
}

/// Puts a file in the place of another. At no time is there none.
fn exchange(path: &Path, anew: &Path) -> Result<(), ::redb::StorageError> {
    let keep = (1..)
        .map(|n| if n == 1 { "damaged".into() } else { format!("damaged-{n}") })
        .map(|suffix: String| beside(path, &suffix))
        .find(|keep| !keep.exists());
    if let Some(keep) = keep
        && fs::hard_link(path, &keep).is_err()
    {
        fs::copy(path, &keep)?;
    }
    fs::rename(anew, path)?;
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        let here = directory == Path::new("");
        fs::File::open(if here { Path::new(".") } else { directory })?.sync_all()?;
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
