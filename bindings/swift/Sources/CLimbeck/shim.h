#include <limbeck.h>
