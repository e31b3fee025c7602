#include <limbeck.hpp>
#include <limbeck.hpp>

int other() { return limbeck::version() == LIMBECK_VERSION ? 0 : 1; }
