#version 3.7;
#include "studio.inc"
#include "shapes.inc"
global_settings { max_trace_level 16 adc_bailout 0.01 }
// A perfume bottle: amber glass, gilt collar, black lacquered cap.

Studio(1, <0.90, 0.89, 0.88>, 0.83, 1)
Lens(<0.9, 2.6, -10.5>, <0.0, 1.52, 0>, 18.5)

#declare AmberGlass = material {
  texture {
    pigment { rgb <1, 0.93, 0.82> filter 0.97 }
    finish { ambient 0 diffuse 0 reflection { 0.03, 0.9 fresnel on } conserve_energy }
  }
  interior { ior 1.5 fade_distance 0.55 fade_power 1001 fade_color rgb <0.88, 0.48, 0.10> }
}
#declare Juice = material {
  texture {
    pigment { rgb <1, 0.90, 0.75> filter 0.98 }
    finish { ambient 0 diffuse 0.0 reflection { 0.0, 0.05 } }
  }
  interior { ior 1.36 fade_distance 0.55 fade_power 1001 fade_color rgb <0.84, 0.40, 0.05> }
}

#declare Outer = object { Round_Box_Merge(<-1.0, 0.0, -0.48>, <1.0, 2.0, 0.48>, 0.10) }
#declare Cavity = object { Round_Box_Merge(<-0.84, 0.24, -0.34>, <0.84, 1.80, 0.34>, 0.16) }

union {
  difference {
    object { Outer }
    object { Cavity }
    material { AmberGlass }
    no_radiosity no_shadow
  }
  intersection {
    object { Round_Box_Merge(<-0.838, 0.242, -0.338>, <0.838, 1.798, 0.338>, 0.16) }
    plane { y, 1.58 }
    material { Juice }
    no_radiosity no_shadow
  }
  // a plain tinted block casts the glass's shadow
  box {
    <-0.96, 0.02, -0.44>, <0.96, 1.94, 0.44>
    pigment { rgb <0.80, 0.52, 0.26> filter 0.75 }
    no_image no_reflection no_radiosity
  }
  // collar
  cylinder { 1.98*y, 2.10*y, 0.36 texture { T_Gold } }
  torus { 0.36, 0.025 translate 2.075*y texture { T_Gold } }
  cylinder { 2.05*y, 2.20*y, 0.30 texture { T_Gold } }
  // cap
  object {
    Round_Box_Union(<-0.46, 2.17, -0.40>, <0.46, 2.98, 0.40>, 0.055)
    texture { pigment { rgb 0.014 } finish { ambient 0 diffuse 0.7 reflection { 0.04, 0.6 falloff 3.5 } conserve_energy } }
  }
  object { Round_Box_Union(<-0.468, 2.17, -0.408>, <0.468, 2.235, 0.408>, 0.015) texture { T_Gold } }
  // label: a gilt frame and lettering on black
  box { <-0.56, 0.62, -0.492>, <0.56, 1.40, -0.478> texture { pigment { rgb <0.016, 0.014, 0.013> } finish { F_Satin } } }
  difference {
    box { <-0.52, 0.66, -0.496>, <0.52, 1.36, -0.48> }
    box { <-0.505, 0.675, -0.6>, <0.505, 1.345, -0.4> }
    texture { T_Gold }
  }
  #macro Line(Txt, Size, Y, Spread)
    #local T = text { ttf "timrom.ttf" Txt 0.1 Spread*x };
    #local Lo = min_extent(T);
    #local Hi = max_extent(T);
    object { T translate -(Lo.x + Hi.x)/2*x scale <Size, Size, 0.05> translate <0, Y, -0.497> texture { pigment { rgb <0.95, 0.72, 0.40> } finish { F_Metal diffuse 0.6 } } }
  #end
  Line("AMBRA", 0.225, 1.00, 0.10)
  Line("EAU  DE  PARFUM", 0.075, 0.86, 0.12)
  Line("50 ml", 0.065, 0.745, 0.06)
  rotate 24*y
}
