//! Bodies of fuzz targets: total functions on bytes that assert what must hold.
