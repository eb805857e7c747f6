//! Writing the registry: images in pieces.

use base::image::Layout;
use pgrx::PgMemoryContexts;
use pgrx::PgOid;
use pgrx::Spi;
use pgrx::Uuid;
use pgrx::pg_sys;

use super::reclaim::reclaim;
use super::write::{as_registry_owner, not_written};
use crate::pg::error::Result;
use crate::pg::fault::point;
use crate::pg::sql::argument;

/// Bytes of one stored piece of an image: it fills a page, so that nothing goes to the TOAST table, which would have four
/// rows and index entries for it. With its row it takes 7840 bytes, and leaves room for the line pointers of 81 pieces that
/// were in the page before it and that no VACUUM has removed yet.
pub(super) const CHUNK: usize = 7792;

/// Pieces after which the memory of their datums goes back.
const PIECES: i32 = 128;

/// Stores an image in pieces.
pub(crate) fn insert_image(image_id: Uuid, image: &Layout<'_>) -> Result<()> {
    reclaim(image.length().div_ceil(CHUNK as u64) as usize)?;
    as_registry_owner(|| {
        // Each piece becomes a datum of its own, which must not stay until the statement ends.
        let mut context = PgMemoryContexts::new("pg_persona image");
        Spi::connect_mut(|client| {
            let types = [pg_sys::UUIDOID, pg_sys::INT4OID, pg_sys::BYTEAOID].map(PgOid::from);
            let insert = "INSERT INTO persona_internal.chunk VALUES ($1, $2, $3)";
            let insert = client.prepare_mut(insert, &types).map_err(not_written)?;
            let mut ordinal = 0i32;
            image.chunks(CHUNK, |piece| {
                // SAFETY: nothing that is made in the context outlives the closure.
                unsafe {
                    context.switch_to(|_| {
                        let arguments = [argument(image_id), argument(ordinal), argument(piece)];
                        client.update(&insert, None, &arguments).map(drop).map_err(not_written)
                    })?;
                    if ordinal % PIECES == PIECES - 1 {
                        context.reset();
                    }
                }
                if ordinal == 0 {
                    point("piece");
                }
                crate::pg::memory::interrupts();
                ordinal += 1;
                Ok(())
            })
        })
    })
}
